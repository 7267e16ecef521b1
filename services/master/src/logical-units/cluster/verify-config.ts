import { configurationFindings } from "@gannet/objects";
import { ClusterVerifyConfig } from "@gannet/opcodes";
import { shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { certificateChecks } from "./certificate-checks.ts";
import { type Check, VerificationReport } from "./verification-report.ts";

/** Found to be fine when nothing has the code. */
const LOOKED_AT = [
  { code: "ECLUSTERCFG", text: "the configuration contradicts itself" },
  { code: "ECLUSTERDANGLINGNODES", text: "nodes belong to a group that does not exist" },
  { code: "ECLUSTERDANGLINGINST", text: "instances have a primary node that does not exist" },
] as const;

export const clusterVerifyConfig = implement(ClusterVerifyConfig, {
  locks: () => [
    shared.all("instance"),
    shared.all("nodegroup"),
    shared.all("node"),
    shared.all("node-res"),
    shared.all("network"),
  ],

  checkPrereq: () => undefined,

  async exec(ctx, op) {
    const report = new VerificationReport(ctx.feedback, op);
    report.section("Verifying cluster certificate files");
    report.take(certificateChecks("ECLUSTERCERT", "", await ctx.masterCertificates(), Date.now()));
    report.section("Verifying cluster config");
    const findings = configurationFindings(ctx.config);
    report.take(findings.map(({ code, item, problem }): Check => ({ code, item, ok: false, text: problem })));
    const clean = LOOKED_AT.filter(({ code }) => findings.every((finding) => finding.code !== code));
    report.take(clean.map(({ code, text }): Check => ({ code, item: "", ok: true, text })));
    return report.ok;
  },
});
