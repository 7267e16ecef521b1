/** Whether certificates are valid, and for how long still. Pure. */

import type { VerifyErrorCode } from "@gannet/opcodes";
import type { CertificateValidity } from "@gannet/pki";
import type { Check } from "./verification-report.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
/** Ganeti's bounds (`SSL_CERT_EXPIRATION_ERROR` and `_WARN`). */
const ERROR_DAYS = 7;
const WARNING_DAYS = 30;

/**
 * @param owner - whose certificates they are; empty for the master's
 * @param nowMs - milliseconds since 1970
 */
export function certificateChecks(
  code: VerifyErrorCode,
  owner: string,
  certificates: readonly CertificateValidity[],
  nowMs: number,
): readonly Check[] {
  const checked = certificates.map((certificate): Check => {
    const finding = findingOf(certificate, nowMs);
    const text = `${owner && `node ${owner}: `}while verifying ${certificate.path}: ${finding?.text ?? "it is valid"}`;
    const check = { code, item: "", ok: finding === undefined, text };
    return finding?.severity === "warning" ? { ...check, severity: "warning" } : check;
  });
  return checked;
}

interface Finding {
  readonly text: string;
  readonly severity: "error" | "warning";
}

function findingOf({ notBeforeMs, notAfterMs, problem }: CertificateValidity, nowMs: number): Finding | undefined {
  if (problem !== "") return { text: `it cannot be read (${problem})`, severity: "error" };
  const from = new Date(notBeforeMs).toISOString();
  const to = new Date(notAfterMs).toISOString();
  if (notAfterMs <= nowMs) return { text: `Certificate is expired (valid from ${from} to ${to})`, severity: "error" };
  if (notBeforeMs > nowMs)
    return { text: `Certificate not yet valid (valid from ${from} to ${to})`, severity: "warning" };
  const days = Math.floor((notAfterMs - nowMs) / DAY_MS);
  if (days > WARNING_DAYS) return undefined;
  return { text: `Certificate expires in about ${days} days`, severity: days <= ERROR_DAYS ? "error" : "warning" };
}
