import { Bar, BarChart, CartesianGrid, Legend, ResponsiveContainer, Tooltip, XAxis, YAxis } from "recharts";

import type { Point } from "./answers";
import { type Drawn, figure, tick } from "./drawn";
import type { Panel, Series, Unit } from "./panels";
import { type Range, stepLabel } from "./range";
import styles from "./analytics.module.css";

interface ChartProps {
  drawn: Drawn;
  panel: Panel;
  range: Range;
}

const AXIS = { fill: "var(--muted)", fontSize: 11 };
const HEIGHT = 230;
/** Of a bar of a name, with its gap. */
const BAR_HEIGHT = 24;

/** The picture of an answer. Screen readers are given its table instead. */
export function Chart({ drawn, panel, range }: ChartProps) {
  const { unit } = panel;
  if (drawn.kind === "bars") {
    return (
      <div className={styles.chart} aria-hidden="true">
        <ByName drawn={drawn} unit={unit} stacked={panel.kind === "bars" && panel.stacked} />
      </div>
    );
  }
  const pictures = panel.kind === "time" && panel.apart ? drawn.series.map((one) => [one]) : [drawn.series];
  return (
    <div className={styles.chart} aria-hidden="true">
      {pictures.map((series) => (
        <OverTime
          key={series.map(({ column }) => column).join()}
          series={series}
          points={drawn.points}
          unit={unit}
          range={range}
          height={HEIGHT / pictures.length}
        />
      ))}
    </div>
  );
}

function tip(unit: Unit, series: readonly Series[], label: (value: unknown) => string) {
  return (
    <Tooltip
      isAnimationActive={false}
      cursor={{ fill: "var(--hover)" }}
      contentStyle={{ background: "var(--raised)", border: "1px solid var(--line-strong)", borderRadius: 6 }}
      labelStyle={{ color: "var(--text)" }}
      itemStyle={{ color: "var(--text)" }}
      labelFormatter={label}
      formatter={(value, name) => [
        figure(typeof value === "number" ? value : null, unit),
        series.find(({ column }) => column === name)?.name ?? String(name),
      ]}
    />
  );
}

function legend(series: readonly Series[]) {
  return (
    <Legend
      itemSorter={null}
      iconType="square"
      iconSize={9}
      formatter={(column) => (
        <span className={styles.legend}>{series.find((one) => one.column === column)?.name ?? String(column)}</span>
      )}
    />
  );
}

interface OverTimeProps {
  series: readonly Series[];
  points: Point[];
  unit: Unit;
  range: Range;
  height: number;
}

function OverTime({ series, points, unit, range, height }: OverTimeProps) {
  return (
    <ResponsiveContainer width="100%" height={height}>
      <BarChart
        data={points}
        margin={{ top: 6, right: 6, bottom: 0, left: 0 }}
        barCategoryGap={1}
        accessibilityLayer={false}
      >
        <CartesianGrid vertical={false} stroke="var(--line)" />
        <XAxis
          dataKey="at"
          tick={AXIS}
          tickLine={false}
          axisLine={{ stroke: "var(--line-strong)" }}
          minTickGap={40}
          tickFormatter={(at: number) => stepLabel(at, range)}
        />
        <YAxis
          tick={AXIS}
          width={44}
          tickLine={false}
          axisLine={false}
          allowDecimals={false}
          tickFormatter={(value: number) => tick(value, unit)}
        />
        {tip(unit, series, (at) => new Date(Number(at)).toLocaleString())}
        {legend(series)}
        {series.map(({ column, colour }) => (
          <Bar key={column} dataKey={column} stackId="all" fill={colour} isAnimationActive={false} />
        ))}
      </BarChart>
    </ResponsiveContainer>
  );
}

function ByName({ drawn, unit, stacked }: { drawn: Drawn & { kind: "bars" }; unit: Unit; stacked: boolean }) {
  const { series, bars } = drawn;
  const data = bars.map(({ name, values }) => ({ name, ...values }));
  const rows = stacked ? bars.length : bars.length * 2;
  return (
    <ResponsiveContainer width="100%" height={Math.max(HEIGHT, rows * BAR_HEIGHT + 50)}>
      <BarChart
        data={data}
        layout="vertical"
        margin={{ top: 6, right: 12, bottom: 0, left: 0 }}
        accessibilityLayer={false}
      >
        <CartesianGrid horizontal={false} stroke="var(--line)" />
        <XAxis
          type="number"
          tick={AXIS}
          tickLine={false}
          axisLine={{ stroke: "var(--line-strong)" }}
          allowDecimals={false}
          tickFormatter={(value: number) => tick(value, unit)}
        />
        <YAxis
          type="category"
          dataKey="name"
          tick={AXIS}
          width={140}
          interval={0}
          tickLine={false}
          axisLine={false}
          tickFormatter={(name: string) => (name.length > 22 ? `${name.slice(0, 21)}…` : name)}
        />
        {tip(unit, series, String)}
        {legend(series)}
        {series.map(({ column, colour }) => (
          <Bar
            key={column}
            dataKey={column}
            {...(stacked ? { stackId: "all" } : {})}
            fill={colour}
            maxBarSize={16}
            isAnimationActive={false}
          />
        ))}
      </BarChart>
    </ResponsiveContainer>
  );
}
