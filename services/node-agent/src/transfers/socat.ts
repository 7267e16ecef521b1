/**
 * socat(1), which is both ends of a transfer's connection, as Ganeti runs it, so that a Ganeti may be the other end
 * (spec/node-ops.json, `import_export_daemon`), and what it tells of how it goes.
 */
import { isIPv6 } from "node:net";
import { OpPrereqError } from "@gannet/errors";

const SOCAT = "/usr/bin/socat";
/** What one address of socat takes; a comma would begin another option. */
const OPTION_LIMIT_CHARS = 400;

/** Files by which the ends know each other. */
export interface TransferIdentity {
  readonly keyFile: string;
  readonly certFile: string;
  /** What the other end's certificate is, or is issued by. */
  readonly peerFile: string;
}

export type Place =
  | { readonly kind: "listen"; readonly address: string }
  | { readonly kind: "connect"; readonly host: string; readonly port: number };

/** @throws OpPrereqError for an option that socat would misread */
export function socatArgv(
  place: Place,
  { ipv6, identity }: { readonly ipv6: boolean; readonly identity: TransferIdentity },
): readonly [string, ...string[]] {
  const common = [
    ...["keepalive", "keepidle=60", "keepintvl=10", "keepcnt=5"],
    ...["verify=1", "cipher=HIGH:-DES:-3DES:-EXPORT:-DH", "compress=none"],
    // In TLS 1.3 a client learns only after its handshake that its certificate was refused, and socat (1.7.4.4) then
    // keeps the refused connection open while it listens for another: the client would wait for ever.
    ...["openssl-min-proto-version=TLS1.2", "openssl-max-proto-version=TLS1.2"],
    ...[`key=${identity.keyFile}`, `cert=${identity.certFile}`, `cafile=${identity.peerFile}`],
    `pf=${ipv6 ? "ipv6" : "ipv4"}`,
  ];
  const addresses =
    place.kind === "listen"
      ? [
          // A connection that is refused, from a stranger or a port scan, must not end the listening.
          ["OPENSSL-LISTEN:0", "reuseaddr", "forever", "intervall=0.01", ...common, `bind=${bracketed(place.address)}`],
          ["stdout"],
        ]
      : [
          ["stdin"],
          [
            `OPENSSL:${bracketed(place.host)}:${place.port}`,
            ...["connect-timeout=20", "retry=10", "intervall=1"],
            ...common,
            // Which certificate is the right one says `cafile`, not the address that is connected to.
            ...["openssl-commonname=", "no-sni"],
          ],
        ];
  for (const option of addresses.flat())
    if (option.length > OPTION_LIMIT_CHARS || option.includes(",") || option.includes("!!"))
      throw new OpPrereqError(`socat cannot be given ${JSON.stringify(option.slice(0, 200))}`, "wrong_input");
  // To standard error, notices too; blocks as large as dd's; in one direction.
  return [SOCAT, "-ls", "-d", "-d", "-b1048576", "-u", ...addresses.map((options) => options.join(","))];
}

/** What one line of socat's log means. */
export type SocatNews =
  | { readonly kind: "listening"; readonly port: number }
  | { readonly kind: "connected" }
  /** Nothing that anybody needs to see. */
  | { readonly kind: "notice" }
  | { readonly kind: "problem"; readonly text: string };

/** `2026/11/22 02:35:29 socat[13976] N listening on AF=2 127.0.0.1:41863` */
export function parseSocatLine(line: string): SocatNews {
  const [, level, text = line] = /^\S+ \S+ socat\[\d+\] ([DINWEF]) (.*)$/.exec(line) ?? [];
  if (level === undefined || !"DIN".includes(level)) return { kind: "problem", text };
  const [, port] = /^listening on AF=\d+ .*:(\d+)$/.exec(text) ?? [];
  if (port !== undefined) return { kind: "listening", port: Number(port) };
  if (text.startsWith("starting data transfer loop with FDs")) return { kind: "connected" };
  return { kind: "notice" };
}

function bracketed(address: string): string {
  return isIPv6(address) ? `[${address}]` : address;
}
