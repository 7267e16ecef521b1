export * from "./certificate.ts";
export * from "./certificate-authority.ts";
export * from "./certificate-validity.ts";
export * from "./identity.ts";
export * from "./password-hash.ts";
export { replaceFiles } from "./private-files.ts";
export * from "./self-signed-certificate.ts";
export {
  certificatesIn,
  createSigningRequest,
  fingerprintOf,
  hasSignedRevocations,
  type KeyAndRequest,
  requestedKey,
} from "./signing.ts";
