/** A problem (RFC 9457) as the gateway answers it, or what kept the request from an answer. */
export class ApiError extends Error {
  constructor(
    /** 0 if there was no answer at all. */
    readonly status: number,
    readonly title: string,
    readonly detail: string | null,
    /** The field of the body that is at fault. */
    readonly field: string | null = null,
  ) {
    super(detail ?? title);
    this.name = "ApiError";
  }

  /** Trying again may work without anybody changing anything. */
  get transient(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

export async function problemOf(response: Response): Promise<ApiError> {
  let body: Record<string, unknown> = {};
  try {
    const parsed: unknown = await response.json();
    if (typeof parsed === "object" && parsed !== null) body = parsed as Record<string, unknown>;
  } catch {
    // Something before the gateway answered, with a page of its own.
  }
  const title = text(body["title"]) ?? (response.statusText || `Status ${response.status}`);
  return new ApiError(response.status, title, text(body["detail"]), text(body["field"]));
}

/** What to tell people about a failure of any kind. */
export function messageOf(error: unknown): string {
  if (error instanceof ApiError) {
    if (error.status === 0) return "Aegis does not answer. Is it running?";
    return error.detail ?? error.title;
  }
  return error instanceof Error ? error.message : String(error);
}
