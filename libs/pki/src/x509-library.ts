/**
 * The library that writes certificates. Loaded when one is first written: it takes 20 MB and a sixth of a second
 * (measured, Node 24), and most processes that read certificates never write any.
 */
export async function loadX509(): Promise<typeof import("@peculiar/x509")> {
  await import("./reflect-metadata.ts");
  return await import("@peculiar/x509");
}
