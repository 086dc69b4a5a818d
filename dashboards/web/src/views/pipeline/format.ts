const WHOLE = new Intl.NumberFormat();

/** A count with its thousands apart. */
export const amount = (count: number): string => WHOLE.format(count);

/** A rate per second, as exact as it is worth. */
export function perSecond(rate: number | null | undefined): string {
  if (rate === null || rate === undefined) return "–";
  if (rate === 0) return "0/s";
  if (rate < 10) return `${rate.toFixed(1)}/s`;
  return `${WHOLE.format(Math.round(rate))}/s`;
}
