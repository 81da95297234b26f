/** The contract of ExportStorage: one suite of tests for all implementations. */
import { describe, expect, test } from "bun:test"
import { Effect, Exit, Fiber, Scope, type Layer } from "effect"
import { ExportStorage, StorageError, type Attempt, type FileReader, type FileWriter } from "../../src/storage/export-storage.ts"

export type Storage = typeof ExportStorage.Service

export const newAttempt = (): Attempt => ({ id: crypto.randomUUID(), epoch: 1 })
/** Makes bytes that compress badly and have no repetitions. */
export const randomBytes = (length: number) => {
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536))
  return bytes
}
const crc32 = (bytes: Uint8Array) => Bun.hash.crc32(bytes).toString(16).padStart(8, "0")
export const failure = <E>(effect: Effect.Effect<unknown, E>): Promise<E> => Effect.runPromise(Effect.flip(effect))
export const openStorage = (layer: Layer.Layer<ExportStorage, StorageError>): Promise<Storage> =>
  Effect.runPromise(Effect.provide(ExportStorage, layer))

/** Opens the file of an attempt, lets `work` write, and closes its scope. */
export const writing = <A>(storage: Storage, attempt: Attempt, work: (file: FileWriter) => Promise<A>): Promise<A> =>
  Effect.runPromise(Effect.scoped(Effect.flatMap(storage.create(attempt), (file) => Effect.promise(() => work(file)))))
export const store = (storage: Storage, attempt: Attempt, chunks: ReadonlyArray<Uint8Array>) =>
  writing(storage, attempt, async (file) => {
    for (const chunk of chunks) await file.write(chunk)
    return file.finish()
  })
/** Streams a range of a finished file, by default all of it. */
export const load = async (storage: Storage, attempt: Attempt, bytes: number, start = 0, end = bytes) => {
  const file = await Effect.runPromise(storage.read(attempt, bytes))
  return Bun.readableStreamToBytes(file.stream(start, end))
}
export const listed = async (storage: Storage) =>
  (await Effect.runPromise(storage.list)).map(({ id, epoch }) => ({ id, epoch })).toSorted((a, b) => a.epoch - b.epoch)

/** Expects that the storage has nothing of any attempt, and that the file cannot be read. */
const expectNothing = async (storage: Storage, attempt: Attempt, bytes: number) => {
  expect(await listed(storage)).toEqual([])
  expect(await failure(storage.read(attempt, bytes))).toBeInstanceOf(StorageError)
  expect(await failure(Effect.scoped(storage.open(attempt, bytes)))).toBeInstanceOf(StorageError)
}

/** What every storage must do. `makeLayer` gives a new, empty storage. */
export const storageContract = (name: string, makeLayer: () => Promise<Layer.Layer<ExportStorage, StorageError>>) => {
  const open = async () => openStorage(await makeLayer())

  describe(name, () => {
    test.each([[[]], [[0]], [[1]], [[65_536, 1, 0, 65_535]], [[3_000_000, 17]]])("keeps a file of chunks %p", async (lengths) => {
      const [storage, attempt] = [await open(), newAttempt()]
      const chunks = lengths.map(randomBytes)
      const whole = Buffer.concat(chunks)
      expect(await store(storage, attempt, chunks)).toEqual({ bytes: whole.length, crc32: crc32(whole) })
      expect(whole.equals(await load(storage, attempt, whole.length))).toBe(true)
      expect(await listed(storage)).toEqual([attempt])
    })

    test("has a chunk once its write resolves, so that the buffer may be filled again", async () => {
      const [storage, attempt] = [await open(), newAttempt()]
      const chunk = randomBytes(100_000)
      const expected = Buffer.concat([chunk, new Uint8Array(100_000).fill(7)])
      const stored = await writing(storage, attempt, async (file) => {
        await file.write(chunk)
        await file.write(chunk.fill(7))
        chunk.fill(0xa5)
        return file.finish()
      })
      expect(stored.crc32).toBe(crc32(expected))
      expect(expected.equals(await load(storage, attempt, expected.length))).toBe(true)
    })

    test("streams any range of a file", async () => {
      const [storage, attempt] = [await open(), newAttempt()]
      const whole = randomBytes(300_000)
      await store(storage, attempt, [whole])
      const slices = [
        [0, 1],
        [0, 300_000],
        [1, 65_537],
        [299_999, 300_000],
        [150_000, 150_000],
        [200_000, 300_000]
      ] as const
      for (const [start, end] of slices) {
        const slice = await load(storage, attempt, whole.length, start, end)
        expect(Buffer.from(slice).equals(whole.subarray(start, end))).toBe(true)
      }
    })

    test("reads any piece of an open file, also after it was removed", async () => {
      const [storage, attempt] = [await open(), newAttempt()]
      const whole = randomBytes(300_000)
      await store(storage, attempt, [whole])
      const pieces = [
        [0, 1],
        [0, 300_000],
        [65_537, 100_000],
        [299_999, 10],
        [300_000, 10]
      ] as const
      const read = async (file: FileReader) => {
        for (const [position, length] of pieces) {
          const into = new Uint8Array(length).fill(0xa5)
          const bytes = await file.read(into, position)
          expect(bytes).toBe(Math.min(length, whole.length - position))
          expect(Buffer.from(into.subarray(0, bytes)).equals(whole.subarray(position, position + bytes))).toBe(true)
        }
      }
      const reading = Effect.gen(function* () {
        const file = yield* storage.open(attempt, whole.length)
        yield* Effect.promise(() => read(file))
        yield* storage.remove(attempt)
        yield* Effect.promise(() => read(file))
      })
      await Effect.runPromise(Effect.scoped(reading))
      await expectNothing(storage, attempt, whole.length)
    })

    test("shows nothing of a file before finish", async () => {
      const [storage, attempt] = [await open(), newAttempt()]
      await writing(storage, attempt, async (file) => {
        await file.write(randomBytes(1000))
        expect(await failure(storage.read(attempt, 1000))).toBeInstanceOf(StorageError)
        await file.finish()
        expect(await load(storage, attempt, 1000)).toHaveLength(1000)
      })
    })

    test("keeps the attempts of one export apart", async () => {
      const [storage, first] = [await open(), newAttempt()]
      const second = { ...first, epoch: 2 }
      await store(storage, first, [Buffer.from("first")])
      await store(storage, second, [Buffer.from("the second")])
      expect(await listed(storage)).toEqual([first, second])
      await Effect.runPromise(storage.remove(first))
      expect(await listed(storage)).toEqual([second])
      expect(Buffer.from(await load(storage, second, 10)).toString()).toBe("the second")
    })

    test("keeps nothing when the scope closes before finish", async () => {
      const [storage, attempt] = [await open(), newAttempt()]
      await writing(storage, attempt, (file) => file.write(randomBytes(1000)))
      await expectNothing(storage, attempt, 1000)
      await writing(storage, attempt, async () => {})
      await expectNothing(storage, attempt, 0)
    })

    test("keeps nothing when it is interrupted while it writes", async () => {
      const [storage, attempt] = [await open(), newAttempt()]
      const started = Promise.withResolvers<void>()
      const copy = async (file: FileWriter) => {
        for (;;) {
          const written = file.write(randomBytes(500_000))
          started.resolve()
          await written
        }
      }
      const fiber = Effect.runFork(
        Effect.scoped(Effect.flatMap(storage.create(attempt), (file) => Effect.tryPromise(() => copy(file))))
      )
      await started.promise
      await Effect.runPromise(Fiber.interrupt(fiber))
      await expectNothing(storage, attempt, 500_000)
    })

    test("keeps the complete file or nothing when its scope closes while it finishes", async () => {
      const storage = await open()
      const bytes = randomBytes(100_000)
      for (let turns = 0; turns < 40; turns++) {
        const attempt = newAttempt()
        const scope = Effect.runSync(Scope.make())
        const file = await Effect.runPromise(Scope.extend(storage.create(attempt), scope))
        await file.write(bytes)
        const finished = file.finish().then(
          () => true,
          () => false
        )
        for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
        await Effect.runPromise(Scope.close(scope, Exit.void))
        const afterClose = await listed(storage)
        const kept = await finished
        // Whoever closed the scope may remove the attempt now, and it must not appear later.
        expect(await listed(storage)).toEqual(afterClose)
        expect(afterClose).toEqual(kept ? [attempt] : [])
        if (kept) expect(crc32(await load(storage, attempt, bytes.length))).toBe(crc32(bytes))
        await Effect.runPromise(storage.remove(attempt))
      }
    })

    test("removes an attempt, finished or not, and succeeds where there is none", async () => {
      const [storage, attempt] = [await open(), newAttempt()]
      await store(storage, attempt, [randomBytes(10)])
      for (let time = 0; time < 2; time++) {
        await Effect.runPromise(storage.remove(attempt))
        await expectNothing(storage, attempt, 10)
      }
      await writing(storage, attempt, async (file) => {
        await file.write(randomBytes(10))
        await Effect.runPromise(storage.remove(attempt))
      })
      await expectNothing(storage, attempt, 10)
    })

    test("lists attempts with their age, unfinished ones too", async () => {
      const [storage, attempt] = [await open(), newAttempt()]
      await writing(storage, attempt, async (file) => {
        await file.write(randomBytes(10))
        const [found] = await Effect.runPromise(storage.list)
        expect(found).toMatchObject(attempt)
        expect(Math.abs(found!.ageMs)).toBeLessThan(10_000)
      })
      expect(await listed(storage)).toEqual([])
    })

    test("fails to read a file that is missing or has another length", async () => {
      const [storage, attempt] = [await open(), newAttempt()]
      expect(await failure(storage.read(attempt, 0))).toBeInstanceOf(StorageError)
      await store(storage, attempt, [randomBytes(10)])
      for (const bytes of [0, 9, 11]) {
        const error = await failure(storage.read(attempt, bytes))
        expect(error).toBeInstanceOf(StorageError)
        expect(error.message).toStartWith(`Cannot read export ${attempt.id}`)
      }
    })

    test("checks that it can be read and written to, and the check leaves no trace", async () => {
      const storage = await open()
      await Effect.runPromise(storage.check)
      await Effect.runPromise(storage.checkWritable)
      expect(await listed(storage)).toEqual([])
    })
  })
}
