// Package reference reads the names that people give to images.
//
// "alpine" is a short form. The whole name says which registry, which repository there, and which of its versions:
//
//	docker.io / library/alpine : latest  @ sha256:1e42bbe2…
//	└registry┘ └─repository──┘  └tag──┘    └─digest───────┘
//
// A tag is a movable label; a digest is the hash of a manifest and therefore never names anything else. What is left
// out is filled in as Docker does it:
//
//   - The first component is a registry only if it looks like a host: it has a dot, a colon or an upper-case letter,
//     or it is "localhost". Otherwise the registry is docker.io.
//   - A name of one component on docker.io is an official image and lives below "library/".
//   - Without a tag and without a digest, the tag is "latest".
//
// The grammar is that of github.com/distribution/reference. That package is six regular expressions compiled at
// start-up; this one is a hand-written parser, because a name is parsed on the hot path of `minipod run`, before main,
// and because a parser can say which character is wrong.
package reference
