ALTER TABLE "sluice"."exports" ADD COLUMN "crashes" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "sluice"."exports" ADD COLUMN "waiting_since" timestamp with time zone;