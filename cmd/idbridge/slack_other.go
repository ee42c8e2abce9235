//go:build !linux

package main

// restLonger is for Linux.
func restLonger() {}
