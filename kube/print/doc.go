// Package print is what kubectl shows of an object: a row of a table, a description, or one field of it.
//
// Everything here is a pure function of what it is given, the time included. Columns, words and the order of the cases are
// those of kubectl and of the API server's table printers (kubernetes/pkg/printers/internalversion), so that what people
// and scripts know of kubectl's output holds here:
//
//	Pods, ConfigMaps, …   objects → Table         get
//	DescribePod, …        an object → text         describe
//	Fields                objects → text           get -o jsonpath=…, custom-columns=…, go-template=…
package print
