/** Hands a text to the browser as a file to be saved. */
export function save(name: string, type: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The browser has to begin before the URL may go.
  setTimeout(() => URL.revokeObjectURL(url), 1_000);
}
