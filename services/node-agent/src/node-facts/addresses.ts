/** Whether IP addresses are this node's own, and whether others answer it. */
import { createSocket } from "node:dgram";
import { connect } from "node:net";
import type { CheckAddressesReply, TcpPeer } from "@gannet/rpc";
import { isErrno } from "../errno.ts";

export interface AddressChecks {
  readonly own: readonly string[];
  readonly peers: readonly TcpPeer[];
  /** The node's own address from which the peers are tried. */
  readonly from: string | undefined;
}

/** As long as Ganeti waits (spec/node-ops.json, "node ping"). */
const ANSWER_TIMEOUT_MS = 10_000;

export async function checkAddresses(checks: AddressChecks, signal: AbortSignal): Promise<CheckAddressesReply> {
  const [own, answering] = await Promise.all([
    Promise.all(checks.own.map(isOwn)),
    Promise.all(checks.peers.map((peer) => answers(peer, checks.from, signal))),
  ]);
  signal.throwIfAborted();
  return {
    foreign: checks.own.filter((_, position) => own[position] === false),
    silent: checks.peers.filter((_, position) => answering[position] === false),
  };
}

/** Only an own address can be bound to; lists of interfaces do not have all of them (127.0.0.0/8). */
export function isOwn(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    const end = (own: boolean) => socket.close(() => resolve(own));
    socket.once("error", () => end(false));
    socket.bind({ address, port: 0, exclusive: true }, () => end(true));
  });
}

/** A refused connection is an answer: the address is reached, and nobody listens. */
export function answers({ address, port }: TcpPeer, from: string | undefined, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, ...(from === undefined ? {} : { localAddress: from }) });
    const end = (answered: boolean) => {
      socket.destroy();
      signal.removeEventListener("abort", give);
      resolve(answered);
    };
    const give = () => end(false);
    signal.addEventListener("abort", give, { once: true });
    socket.setTimeout(ANSWER_TIMEOUT_MS, give);
    socket.once("connect", () => end(true));
    socket.once("error", (error) => end(isErrno(error, "ECONNREFUSED")));
  });
}
