/** Files of the page at /docs, imported as text. */
declare module "*.css" {
  const text: string
  export default text
}
declare module "*.md" {
  const text: string
  export default text
}
declare module "*.js" {
  const text: string
  export default text
}
