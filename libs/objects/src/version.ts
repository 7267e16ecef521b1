/** Gannet's own version, of all its programs. */
export const GANNET_VERSION = "0.1.0";
