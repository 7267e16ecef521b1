/** Generates `src/generated` from `proto/`, with the npm packages `protoc` and `ts-proto`. */
import { createRequire } from "node:module";
import { readdirSync } from "node:fs";
import { spawnSync } from "node:child_process";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "../..");
const protoRoot = path.join(root, "proto");
const out = process.argv[2] ?? path.join(import.meta.dirname, "src/generated");
const require = createRequire(import.meta.url);

const options = [
  "outputServices=grpc-js",
  "esModuleInterop=true",
  "enumsAsLiterals=true",
  "oneof=unions-value",
  "importSuffix=.ts",
  "env=node",
  "forceLong=number",
  "useOptionals=none",
  "exportCommonSymbols=false",
].join(",");
const files = readdirSync(path.join(protoRoot, "gannet/node/v1")).filter((f) => f.endsWith(".proto"));
const result = spawnSync(
  path.join(root, "node_modules/.bin/protoc"),
  [
    `--plugin=protoc-gen-ts_proto=${require.resolve("ts-proto/protoc-gen-ts_proto")}`,
    `--ts_proto_out=${out}`,
    `--ts_proto_opt=${options}`,
    `--proto_path=${protoRoot}`,
    ...files.map((f) => `gannet/node/v1/${f}`),
  ],
  { stdio: "inherit" },
);
process.exitCode = result.status ?? 1;
