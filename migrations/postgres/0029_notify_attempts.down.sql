DROP TABLE notify_attempts;
