import { NO_STEPS, foldSteps } from "./agents";
import { Channel } from "./channel";
import { NO_INCIDENTS, foldIncidents } from "./incidents";
import { NO_SAMPLES, foldSamples } from "./pipeline";
import { NO_REMEDIATIONS, foldRemediations } from "./remediations";
import { wiring } from "./wiring";

export const incidentsLive = new Channel("/incidents", NO_INCIDENTS, foldIncidents, wiring);
export const agentsLive = new Channel("/agents", NO_STEPS, foldSteps, wiring);
export const remediationsLive = new Channel("/remediations", NO_REMEDIATIONS, foldRemediations, wiring);
export const pipelineLive = new Channel("/pipeline", NO_SAMPLES, foldSamples, wiring);

/** Forgets what was seen; the next look asks anew. For a change of who is signed in. */
export function forgetLive(): void {
  for (const channel of [incidentsLive, agentsLive, remediationsLive, pipelineLive]) channel.forget();
}

/** Connects what is being looked at. */
export function connectLive(): void {
  for (const channel of [incidentsLive, agentsLive, remediationsLive, pipelineLive]) channel.connect();
}
