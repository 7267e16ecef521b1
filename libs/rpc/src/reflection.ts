/** gRPC reflection, by which tools such as grpcurl list and call the services; for development only. */

import { BinaryReader } from "@bufbuild/protobuf/wire";
import type { Server } from "@grpc/grpc-js";
import { ReflectionService } from "@grpc/reflection";
import { DESCRIPTOR_SET } from "./generated/descriptor-set.ts";

export async function addReflection(server: Server): Promise<void> {
  const files = fileDescriptors(Buffer.from(DESCRIPTOR_SET, "base64"));
  // The reflection service reads nothing of a package definition but its encoded files.
  new ReflectionService({ gannet: { fileDescriptorProtos: files } } as never).addToServer(server);
}

/** A FileDescriptorSet is field 1, repeated (google/protobuf/descriptor.proto). */
function fileDescriptors(set: Uint8Array): Buffer[] {
  const reader = new BinaryReader(set);
  const files: Buffer[] = [];
  while (reader.pos < reader.len) {
    reader.tag();
    files.push(Buffer.from(reader.bytes()));
  }
  return files;
}
