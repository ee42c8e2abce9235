//go:build race

package saml

// slower is by how much the race detector slows things down, generously.
const slower = 20
