import { Component, type ReactNode } from "react";

import { ErrorState } from "./states";

interface Props {
  /** Another value tries again: the place that is shown. */
  place: string;
  children: ReactNode;
}

interface State {
  error: unknown;
  place: string;
}

/** A fault of one view leaves the rest of the page usable. */
export class ErrorBoundary extends Component<Props, State> {
  override state: State = { error: null, place: this.props.place };

  static getDerivedStateFromError(error: unknown): Partial<State> {
    return { error };
  }

  static getDerivedStateFromProps(props: Props, state: State): Partial<State> | null {
    return props.place === state.place ? null : { error: null, place: props.place };
  }

  override render(): ReactNode {
    if (this.state.error === null) return this.props.children;
    return (
      <ErrorState
        title="This view could not be shown"
        error={this.state.error}
        onRetry={() => window.location.reload()}
      />
    );
  }
}
