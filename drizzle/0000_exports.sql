CREATE SCHEMA IF NOT EXISTS "sluice";
--> statement-breakpoint
CREATE TABLE "sluice"."exports" (
	"id" uuid PRIMARY KEY NOT NULL,
	"sequence" bigserial NOT NULL,
	"dataset" text NOT NULL,
	"spec" jsonb NOT NULL,
	"fingerprint" char(64) NOT NULL,
	"status" text DEFAULT 'pending' NOT NULL,
	"epoch" integer DEFAULT 0 NOT NULL,
	"failures" integer DEFAULT 0 NOT NULL,
	"total_rows" bigint,
	"total_rows_exact" boolean DEFAULT false NOT NULL,
	"processed_rows" bigint DEFAULT 0 NOT NULL,
	"percentage" smallint DEFAULT 0 NOT NULL,
	"error" text,
	"bytes" bigint,
	"crc32" char(8),
	"sha256" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"started_at" timestamp with time zone,
	"completed_at" timestamp with time zone,
	"expires_at" timestamp with time zone,
	CONSTRAINT "exports_sequence_unique" UNIQUE("sequence")
);
--> statement-breakpoint
CREATE INDEX "exports_status_expires_at" ON "sluice"."exports" USING btree ("status","expires_at");--> statement-breakpoint
CREATE INDEX "exports_completed_at" ON "sluice"."exports" USING btree ("completed_at");