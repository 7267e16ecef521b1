/** Of one message, either way: what an allocator reads of a cluster with thousands of instances is some megabytes. */
export const MESSAGE_LIMIT_BYTES = 32 * 1024 * 1024;
