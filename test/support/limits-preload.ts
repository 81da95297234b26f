/** Runs in a service before its bundle does: shortens the limits that the test has named. */
Object.assign(globalThis, { sluiceLimits: JSON.parse(process.env["SLUICE_TEST_LIMITS"] ?? "{}") })
