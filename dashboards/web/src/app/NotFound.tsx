import { Link } from "react-router";

import { EmptyState } from "../ui/states";

export function NotFound() {
  return (
    <EmptyState title="There is nothing here" action={<Link to="/incidents">Go to the incidents</Link>}>
      The address may be old or mistyped.
    </EmptyState>
  );
}
