export * from "./certificate.ts";
export * from "./certificate-authority.ts";
export * from "./certificate-validity.ts";
export * from "./identity.ts";
export * from "./self-signed-certificate.ts";
