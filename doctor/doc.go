// Package doctor looks at what a machine must offer for containers without root, and says how to get what is missing.
//
// A check answers four questions, because each reader stops at another: does it work (Status), how do you know
// (Evidence: the file or the call, what it said, what it should say), what do I lose (Why), and what do I type (Fix,
// with this machine's user name, paths and packages filled in). Where a check can simply try, it tries: versions and
// configuration files promise a lot.
//
// Nothing is changed, and nothing needs privileges: whoever may run minipod may ask why it doesn't run.
package doctor
