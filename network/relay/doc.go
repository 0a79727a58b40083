// Package relay passes what comes from one side on to the other: the two directions of a stream (Join), the datagrams of
// many conversations (Flows), and the bounds that keep one sender from taking all there is (Limit).
//
// It never looks into what it passes on, and it knows no namespaces: whoever made the sockets chose those.
package relay
