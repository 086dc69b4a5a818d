DROP TABLE notify_silenced;
