/** Of every command; nothing of the daemon's own environment reaches one. */
export const BASE_ENVIRONMENT = {
  LC_ALL: "C",
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
} as const;
