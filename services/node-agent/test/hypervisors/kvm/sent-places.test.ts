/** Which devices of a running guest its migration's target is told of: pure. */
import { describe, expect, it } from "vitest";
import { argvDeviceIds } from "../../../src/hypervisors/kvm/argv/argv-device-ids.ts";
import { placesToSend } from "../../../src/hypervisors/kvm/migration/sent-places.ts";
import { planOf } from "./plan-fixture.ts";

const { guest } = planOf({});
const balloon = { bus: "pci.0", addr: "0xc" };
const scsi = { bus: "pci.0", addr: "0xd" };
const disk = { bus: "scsi.0", "scsi-id": 0 };

describe("the places that are sent", () => {
  it("are those of the record", () => {
    const places = { balloon, scsi, "disk-a-b-c": disk };
    expect(placesToSend({ guest, places }, new Set(Object.keys(places)), ["balloon"])).toEqual(places);
  });

  it("leave a controller out that was recorded and never came", () => {
    expect(placesToSend({ guest, places: { balloon, scsi } }, new Set(["balloon"]), ["balloon"])).toEqual({ balloon });
  });

  it.each<readonly [string, readonly string[], readonly string[], RegExp]>([
    ["has lost a device", [], [], /let go of its device balloon/],
    ["has one nobody knows", ["balloon", "by-hand", "usb9"], ["balloon"], /: by-hand, usb9;/],
    // It was unplugged, and plugged in again by an agent that was killed before it could note that.
    [
      "has one it began with and shall not have now",
      ["balloon", "nic-a-b-c"],
      ["balloon", "nic-a-b-c"],
      /: nic-a-b-c;/,
    ],
    ["has a controller nobody knows", ["balloon", "scsi"], ["balloon", "scsi"], /: scsi;/],
  ])("are refused of a guest that %s", (_, present, started, reason) => {
    expect(() => placesToSend({ guest, places: { balloon } }, new Set(present), started)).toThrow(reason);
  });

  it("need none of a device without a place that the command line makes", () => {
    expect(placesToSend({ guest, places: { balloon } }, new Set(["balloon", "sound"]), ["sound"])).toEqual({ balloon });
  });
});

describe("the devices on a command line", () => {
  it("are read from both of its forms, and from no other option", () => {
    const values = ['{"driver":"a","id":"one"}', "b,addr=1,id=two", "c", "{'driver': 'd', 'id': 'four'}"];
    const argv = values.flatMap((value) => ["-device", value]);
    expect(argvDeviceIds([...argv, "-netdev", "user,id=three"])).toEqual(["one", "two", "four"]);
  });
});
