/** `/2/openapi.json` and `/2/openapi`: what this API is, for programs and for people. Made once, when it starts. */
import { hash } from "node:crypto";
import { OPEN_API_PAGE_STYLE, openApiDocument, openApiPage } from "@gannet/opcodes";
import { GANNET_VERSION } from "../../version.ts";
import type { Answer, Handlers } from "../handlers.ts";

/** Nothing but the page's own style: no script, no frame, nothing from elsewhere. */
const PAGE_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${hash("sha256", OPEN_API_PAGE_STYLE, "base64")}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

let made: Handlers | undefined;

export function openApiHandlers(): Handlers {
  made ??= makeHandlers();
  return made;
}

function makeHandlers(): Handlers {
  const document = openApiDocument({ version: GANNET_VERSION });
  const json = fixedAnswer(`${JSON.stringify(document)}\n`, { "Content-Type": "application/json" });
  const page = fixedAnswer(openApiPage(document), {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": PAGE_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
  });
  return { openApiDocument: () => json, openApiPage: () => page };
}

function fixedAnswer(text: string, headers: Readonly<Record<string, string>>): Answer {
  const body = Buffer.from(text);
  return { body, headers, etag: `"${hash("sha256", body, "base64url")}"` };
}
