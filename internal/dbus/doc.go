// Package dbus calls methods over a D-Bus message bus, and waits for signals: what it takes to ask systemd for something.
//
// The D-Bus Specification has the whole protocol; this is the part that a client with one conversation at a time needs:
//
//	we                                     the bus
//	\0 AUTH EXTERNAL <uid, as hex>  ──►
//	                                ◄──    OK <guid>              who we are, it knows from the socket (SO_PEERCRED)
//	BEGIN                           ──►                           from here on: messages
//	Hello                           ──►                           asks for a name; with a bus only, not with a peer
//	                                ◄──    ":1.42"
//	method call                     ──►
//	                                ◄──    signals, meanwhile     kept, for Signal
//	                                ◄──    return, or error
//
// A message is a header and a body of values that are aligned to their size, counted from the message's start:
//
//	l  1  0  1  <body's length> <serial> <fields: array of (code, variant)> …padding to 8…  body
//
// The usual library is github.com/godbus/dbus. It imports net, and an early package that does so waits until the packages that
// stand on net and sort before it (crypto/tls, crypto/x509, HTTP/2) are initialised: `minipod run` began 0.7 ms later,
// with 97 packages instead of 77.
package dbus
