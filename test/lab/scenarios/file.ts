/** Disks in files. */
import { LabInstance } from "../lab-instance.ts";
import type { Scenario } from "../scenario.ts";

export const FILE_SCENARIOS: readonly Scenario[] = (["file", "sharedfile"] as const).map((template) => ({
  name: `${template}: create, start, stop, grow, start again, remove`,
  nodes: 1,
  async run(lab, step) {
    const [node] = await lab.use(1);
    if (node === undefined) return;
    const instance = await step("create and start under KVM", () =>
      LabInstance.create(lab, { name: `${template}1.gannet.test`, template, primary: node }),
    );
    await step("the guest counts", () => instance.counts());
    await step("stop", () => instance.stop());
    await step("grow by 32 MiB", () => instance.change("POST", "/disk/0/grow", { amount: 32 }));
    await step("start", () => instance.start());
    await step("its second boot counts", () => instance.countsAfterBoot(2));
    await step("remove", () => instance.remove());
  },
}));
