CREATE TABLE "sluice"."identity" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL
);
