/** Clients that keep a service busy while its database loses connections, and check every answer. */
import { expect } from "bun:test"
import type { Service } from "./service.ts"

/** An export of demo users, small and the same each time. */
const QUERY = "id=lte.2000&order_by=id"
/** The statuses that a client may see while the database is away; 404, 410 and 425 come of other clients' requests. */
const ALLOWED = new Set([200, 202, 204, 404, 409, 410, 425, 503])

export interface Traffic {
  /** Answers by request and status, and streams that were broken off. */
  readonly seen: Map<string, number>
  /** Exports that were created and that no client deleted. */
  readonly kept: ReadonlyArray<string>
  /** Ends the clients, and fails if one of them saw a wrong answer. */
  readonly stop: () => Promise<void>
}

/** Starts `clients` clients, each of which sends requests of all kinds, one after the other. */
export const startTraffic = ({ url, log }: Service, file: Buffer, clients: number): Traffic => {
  const seen = new Map<string, number>()
  const kept: Array<string> = []
  const wrong: Array<string> = []
  const ending = new AbortController()

  const send = async (name: string, target: string, init: RequestInit = {}) => {
    const response = await fetch(url + target, init)
    const key = `${name} ${response.status}`
    seen.set(key, (seen.get(key) ?? 0) + 1)
    if (!ALLOWED.has(response.status)) {
      // A failure is logged as a warning, and a defect as an error.
      const logged = log().findLast(
        ({ message, logLevel }) => logLevel === "ERROR" || String(message).startsWith(`answered ${response.status}`)
      )
      wrong.push(`${key}: ${JSON.stringify(logged)}`)
    }
    return response
  }
  /** A stream that breaks off is an honest answer, also by a reset before its status is read. A complete one must be right. */
  const stream = async () => {
    const response = await send("stream", `/api/v1/exports/csv?${QUERY}`).catch(() => undefined)
    const body = await response?.arrayBuffer().catch(() => undefined)
    if (body === undefined) seen.set("stream broken off", (seen.get("stream broken off") ?? 0) + 1)
    else if (response?.status === 200) check("stream", body)
  }
  const download = async () => {
    const response = await send("download", `/exports/${some()}/download`)
    const body = await response.arrayBuffer()
    if (response.status === 200) check("download", body)
  }
  const check = (name: string, body: ArrayBuffer) => {
    if (!file.equals(Buffer.from(body))) wrong.push(`${name} of ${body.byteLength} bytes`)
  }
  const create = async () => {
    const response = await send("create", `/exports/csv?${QUERY}`, { method: "POST" })
    const body = (await response.json()) as { exportId?: string }
    return body.exportId
  }
  const some = () => kept[Math.floor(Math.random() * kept.length)]
  const kinds: ReadonlyArray<() => Promise<void>> = [
    async () => {
      const id = await create()
      if (id !== undefined) kept.push(id)
    },
    async () => {
      const id = await create()
      if (id === undefined) return
      const { status } = await send("delete", `/exports/${id}`, { method: "DELETE" })
      if (status !== 204) kept.push(id)
    },
    stream,
    download,
    async () => void (await (await send("list", "/exports?limit=20")).text()),
    async () => void (await (await send("status", `/exports/${some()}/status`)).text())
  ]
  const client = async (first: number) => {
    for (let turn = first; !ending.signal.aborted; turn++) {
      await kinds[turn % kinds.length]!().catch((cause: unknown) => {
        wrong.push(`request ${turn % kinds.length}: ${String(cause)}`)
        ending.abort()
      })
    }
  }
  const working = Array.from({ length: clients }, (_, number) => client(number))
  return {
    seen,
    kept,
    stop: async () => {
      ending.abort()
      await Promise.all(working)
      expect(wrong).toEqual([])
    }
  }
}

export const exportedUsers = "select * from public.users where id <= 2000 order by id"
