import { Suspense, useEffect, useRef, useState } from "react";
import { Link, Outlet, useLocation } from "react-router";

import { Button } from "../ui/Button";
import { ErrorBoundary } from "../ui/ErrorBoundary";
import { ShortcutsHelp } from "../ui/ShortcutsHelp";
import { Toasts } from "../ui/Toasts";
import { useShortcut } from "../ui/shortcuts";
import { Skeleton } from "../ui/states";
import { Account } from "./Account";
import { Connection } from "./Connection";
import styles from "./Layout.module.css";
import { Logo } from "./Logo";
import { Nav } from "./Nav";
import { Palette } from "./Palette";
import { ThemeChoice } from "./ThemeChoice";

export function Layout() {
  const { pathname } = useLocation();
  const [help, setHelp] = useState(false);
  const [palette, setPalette] = useState(false);
  const main = useRef<HTMLElement>(null);
  useShortcut("?", "Show the shortcuts", () => setHelp(true));
  useShortcut("mod+k", "Go to an incident or a view", () => setPalette(true));

  // Whoever reads with the keyboard or a screen reader begins at the top of the new view.
  const shown = useRef(pathname);
  useEffect(() => {
    if (shown.current === pathname) return;
    shown.current = pathname;
    main.current?.focus({ preventScroll: true });
    main.current?.scrollTo(0, 0);
  }, [pathname]);

  return (
    <div className={styles.app}>
      <a className={styles.skip} href="#main">
        Skip to the content
      </a>
      <Link className={styles.brand} to="/incidents">
        <Logo />
        Aegis
      </Link>
      <header className={styles.header}>
        <Connection />
        <Button look="quiet" size="small" onClick={() => setPalette(true)}>
          Find… <kbd className="muted">Ctrl K</kbd>
        </Button>
        <Button look="quiet" size="small" aria-label="Keyboard shortcuts" onClick={() => setHelp(true)}>
          ?
        </Button>
        <ThemeChoice />
        <Account />
      </header>
      <Nav />
      <main ref={main} id="main" className={styles.main} tabIndex={-1}>
        <ErrorBoundary place={pathname}>
          <Suspense fallback={<Skeleton label="Loading the view" />}>
            <Outlet />
          </Suspense>
        </ErrorBoundary>
      </main>
      <Toasts />
      <ShortcutsHelp open={help} onClose={() => setHelp(false)} />
      <Palette open={palette} onClose={() => setPalette(false)} />
    </div>
  );
}
