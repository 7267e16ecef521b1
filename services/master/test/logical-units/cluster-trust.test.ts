/** What clusters prove to each other by their domain secret; figures as Ganeti's own functions make them. */
import { afterEach, expect, test, vi } from "vitest";
import {
  checkCertificate,
  checkHandshake,
  checkName,
  checkTarget,
  handshake,
  signCertificate,
  signName,
  signTarget,
} from "../../src/logical-units/backup/cluster-trust.ts";
import { CERTIFICATE as TRANSFER_CERTIFICATE } from "./scripted-exports.ts";

const SECRET = "secret";
const SALT = "0123456789abcdef";

afterEach(() => void vi.useRealTimers());

test("what Ganeti has made is accepted", () => {
  checkHandshake(SECRET, [0, "151422b1ca9fabe10a56a958ba9f3f50f31839ee", SALT]);
  const name = "x509-0011223344556677";
  expect(checkName(SECRET, [name, "2fa88f575a1e76cc1c1fcf9714f907fd561f0378", SALT])).toBe(name);
  const target = ["192.0.2.7", 4321, "some-magic", "3f6753dc5ed4696f98167f10ee81e971a76207af", SALT];
  expect(checkTarget(SECRET, 2, target)).toEqual({ host: "192.0.2.7", port: 4321, magic: "some-magic" });
});

test("what is made here is accepted with the same secret, and with no other", () => {
  const target = { host: "192.0.2.7", port: 4321, magic: "some-magic" };
  const proofs = (secret: string) => [
    () => checkHandshake(secret, handshake(SECRET)),
    () => checkName(secret, signName(SECRET, "x509-1")),
    () => checkTarget(secret, 0, signTarget(SECRET, 0, target)),
    () => checkCertificate(secret, signCertificate(SECRET, TRANSFER_CERTIFICATE), "source"),
  ];
  for (const proof of proofs(SECRET)) expect(proof).not.toThrow();
  for (const proof of proofs("other")) expect(proof).toThrow(/match|wrong|invalid/);
});

test("text cannot be moved from what is signed into the salt", () => {
  // Of disk 12, it would pass for one of disk 2 otherwise.
  const [host, port, magic, hash, salt] = signTarget(SECRET, 12, {
    host: "192.0.2.7",
    port: 4321,
    magic: "some-magic",
  });
  expect(() => checkTarget(SECRET, 2, [host, port, magic, hash, `${salt}1`])).toThrow(/Invalid data/);
});

test("a certificate holds only while it is valid", () => {
  const signed = signCertificate(SECRET, TRANSFER_CERTIFICATE);
  expect(checkCertificate(SECRET, signed, "source")).toBe(TRANSFER_CERTIFICATE);
  const at = (date: string) => () => checkCertificate(SECRET, signed, "source", Date.parse(date));
  expect(at("2020-01-01")).toThrow(/Invalid source X509 CA \(Certificate is not yet valid/);
  expect(at("2999-01-01")).toThrow(/Invalid source X509 CA \(Certificate is expired since/);
});

test.each([
  ["", []],
  ["no list", "0"],
  ["too short", [0, "00"]],
  ["no hash", [0, 1, SALT]],
  ["no salt", [0, "00", "xyz"]],
])("a handshake that is %s is refused", (_what, given) => {
  expect(() => checkHandshake(SECRET, given)).toThrow(/Invalid handshake/);
});
