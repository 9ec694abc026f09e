//go:build tools

// Package lint pins the linters of `make check`; it has no code. They live in a module of their own because they would
// drag hundreds of requirements into the product's. Build them with `make tools`.
package lint
