/**
 * The baseline of the HTTP figures: Koa over TLS that answers given bytes and does nothing else. Runs as a
 * process of its own, as the master does. Arguments: CERT KEY PORT [PATH=FILE]…
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import Koa from "koa";

const [cert = "", key = "", port = "0", ...answers] = process.argv.slice(2);
const bodies = new Map(
  answers.map((answer) => {
    const separator = answer.lastIndexOf("=");
    return [answer.slice(0, separator), readFileSync(answer.slice(separator + 1))];
  }),
);
const app = new Koa();
app.use((ctx) => {
  const body = bodies.get(ctx.url);
  if (body === undefined) return;
  ctx.type = "application/json";
  ctx.body = body;
});
createServer({ cert: readFileSync(cert), key: readFileSync(key) }, app.callback()).listen(
  Number(port),
  "127.0.0.1",
  () => {
    console.log("listening");
  },
);
