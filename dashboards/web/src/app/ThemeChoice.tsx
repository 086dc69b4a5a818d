import { type Theme, setTheme, useTheme } from "../ui/theme";
import styles from "./Layout.module.css";

export function ThemeChoice() {
  const theme = useTheme();
  return (
    <select
      className={styles.theme}
      aria-label="Theme"
      value={theme}
      onChange={(event) => setTheme(event.target.value as Theme)}
    >
      <option value="system">System theme</option>
      <option value="dark">Dark</option>
      <option value="light">Light</option>
    </select>
  );
}
