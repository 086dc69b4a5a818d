//! What several instances share: cache, sessions, locks with fencing tokens, publish and subscribe.
