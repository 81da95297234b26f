/** SQL with its bound values, all as text: the server casts them. */
export interface Statement {
  readonly text: string
  readonly values: ReadonlyArray<string>
}
