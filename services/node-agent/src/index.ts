export { type Agent, type AgentParts, startAgent } from "./agent.ts";
export { type AgentConfiguration, type AgentConfigurationFile, agentConfiguration } from "./configuration.ts";
