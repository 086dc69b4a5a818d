DROP TABLE notify_buttons;
DROP TABLE notify_deliveries;
DROP TABLE notify_threads;
