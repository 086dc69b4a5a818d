import { Badge, type Shape, type Tone } from "../../ui/Badge";
import { HEALTH_WORDS, type Health } from "./standing";

const LOOKS: Record<Health, [Tone, Shape]> = {
  well: ["good", "check"],
  waiting: ["quiet", "pause"],
  behind: ["warning", "triangle"],
  troubled: ["critical", "cross"],
};

export function HealthBadge({ health }: { health: Health }) {
  const [tone, shape] = LOOKS[health];
  return (
    <Badge tone={tone} shape={shape}>
      {HEALTH_WORDS[health]}
    </Badge>
  );
}
