// Package accesscontrol decides who may do what, from one Cedar policy.
package accesscontrol
