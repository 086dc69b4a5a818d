import { Dialog } from "./Dialog";
import styles from "./ShortcutsHelp.module.css";
import { useShortcuts } from "./shortcuts";

const NAMES: Record<string, string> = { "mod+k": "Ctrl K" };

export function ShortcutsHelp({ open, onClose }: { open: boolean; onClose: () => void }) {
  const shortcuts = useShortcuts();
  return (
    <Dialog open={open} title="Keyboard shortcuts" onClose={onClose}>
      <dl className={styles.list}>
        {shortcuts.map(({ keys, label }) => (
          <div key={keys} className={styles.line}>
            <dt>
              {(NAMES[keys] ?? keys).split(" ").map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{label}</dd>
          </div>
        ))}
      </dl>
      <p className="muted small">In tables also the arrow keys, Home, End, Page Up, Page Down and Enter.</p>
    </Dialog>
  );
}
