// Package gormcapture placeholder
package gormcapture
