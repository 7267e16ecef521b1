/** The agent's services as the client and the server side see them, derived from the generated definitions. */
import { BlockDeviceServiceService } from "./generated/gannet/node/v1/block_device.ts";
import { InstanceServiceService } from "./generated/gannet/node/v1/instance.ts";
import { NodeServiceService } from "./generated/gannet/node/v1/node.ts";
import { OsServiceService } from "./generated/gannet/node/v1/os.ts";
import { StorageServiceService } from "./generated/gannet/node/v1/storage.ts";
import { TransferServiceService } from "./generated/gannet/node/v1/transfer.ts";

/** Each service under the name it has on clients and servers. A new service is added here and to `DEADLINES_MS`. */
export const SERVICES = {
  node: NodeServiceService,
  blockDevices: BlockDeviceServiceService,
  instances: InstanceServiceService,
  os: OsServiceService,
  storage: StorageServiceService,
  transfers: TransferServiceService,
} as const;

/** Whoever watches a node with it only looks, and does so beside the leader; a leader's epochs begin with 1. */
export const OBSERVER_EPOCH = 0;

export type Services = typeof SERVICES;
export type ServiceName = keyof Services;

/** One method as ts-proto generates it. No method of the agent takes a stream. */
export interface MethodDefinition<Request, Reply> {
  readonly path: string;
  readonly requestStream: false;
  readonly responseStream: boolean;
  readonly requestSerialize: (value: Request) => Buffer;
  readonly requestDeserialize: (value: Buffer) => Request;
  readonly responseSerialize: (value: Reply) => Buffer;
  readonly responseDeserialize: (value: Buffer) => Reply;
}

export type RequestOf<Method> = Method extends { requestDeserialize: (value: Buffer) => infer Request }
  ? Request
  : never;
export type ReplyOf<Method> = Method extends { responseDeserialize: (value: Buffer) => infer Reply } ? Reply : never;

/** The methods of a service as functions: `Extra` is what they take beside the request. */
export type ServiceMethods<Service, Extra extends readonly unknown[]> = {
  readonly [M in keyof Service]: (
    request: RequestOf<Service[M]>,
    ...extra: Extra
  ) => Service[M] extends { responseStream: true } ? AsyncIterable<ReplyOf<Service[M]>> : Promise<ReplyOf<Service[M]>>;
};
