package datamap

// Unclassified is the category of a column about which nobody has decided yet.
// It counts as personal, and [Map.Gaps] names it until there is a decision.
const Unclassified = "unclassified"

// Purposes are what personal data may be used for: the keys of the Data Privacy
// Vocabulary 2 of the W3C (https://w3id.org/dpv) that a CRM needs.
func Purposes() []string {
	return []string{
		"dpv:AccountManagement",
		"dpv:Advertising",
		"dpv:CommunicationForCustomerCare",
		"dpv:CommunicationManagement",
		"dpv:CustomerCare",
		"dpv:CustomerClaimsManagement",
		"dpv:CustomerManagement",
		"dpv:CustomerOrderManagement",
		"dpv:CustomerRelationshipManagement",
		"dpv:CustomerSolvencyMonitoring",
		"dpv:DeliveryOfGoods",
		"dpv:DirectMarketing",
		"dpv:DisputeManagement",
		"dpv:EnforceSecurity",
		"dpv:EstablishContractualAgreement",
		"dpv:FraudPreventionAndDetection",
		"dpv:FulfilmentOfContractualObligation",
		"dpv:HumanResourceManagement",
		"dpv:IdentityVerification",
		"dpv:LegalCompliance",
		"dpv:Marketing",
		"dpv:MembersAndPartnersManagement",
		"dpv:OrganisationGovernance",
		"dpv:PaymentManagement",
		"dpv:Personalisation",
		"dpv:PersonnelManagement",
		"dpv:PublicRelations",
		"dpv:RecordManagement",
		"dpv:RequestedServiceProvision",
		"dpv:RightsFulfilment",
		"dpv:ServiceProvision",
		"dpv:ServiceUsageAnalytics",
		"dpv:SocialMediaMarketing",
		"dpv:VendorManagement",
	}
}

// Bases are the legal bases on which personal data may be used: Articles 6(1)
// and 9(2) of the GDPR as the Data Privacy Vocabulary writes them
// (https://w3id.org/dpv/legal/eu/gdpr), and its words for other laws.
func Bases() []string {
	return []string{
		"dpv:Consent",
		"dpv:ExplicitConsent",
		"dpv:Contract",
		"dpv:ContractPerformance",
		"dpv:EnterIntoContract",
		"dpv:LegalObligation",
		"dpv:LegitimateInterest",
		"dpv:PublicInterest",
		"dpv:OfficialAuthorityOfController",
		"dpv:VitalInterest",
		"eu-gdpr:A6-1-a", // consent
		"eu-gdpr:A6-1-b", // contract
		"eu-gdpr:A6-1-c", // legal obligation
		"eu-gdpr:A6-1-d", // vital interest
		"eu-gdpr:A6-1-e", // public task
		"eu-gdpr:A6-1-f", // legitimate interest
		"eu-gdpr:A9-2-a", // explicit consent
		"eu-gdpr:A9-2-b", // employment and social security law
		"eu-gdpr:A9-2-e", // made public by the person
		"eu-gdpr:A9-2-f", // legal claims
		"eu-gdpr:A9-2-h", // health care
	}
}

// Gap is something that is not stated about a column yet, and without which
// nothing is erased.
type Gap struct {
	Table, Column string
	Missing       string // "category", "purpose" or "basis"
}

// Gaps lists what is not stated: columns whose category is [Unclassified], and
// columns of personal data without purpose or legal basis, which an export has
// to name (GDPR Articles 13 and 15). Such a map is valid; nothing is erased by it.
func (m *Map) Gaps() []Gap {
	var gaps []Gap
	for _, t := range m.Tables {
		for _, c := range t.Columns {
			if c.Category == Unclassified {
				gaps = append(gaps, Gap{t.Name, c.Where(), "category"})
			}
			if c.Category == Unclassified || c.Category == "" {
				continue
			}
			if c.Purpose == "" {
				gaps = append(gaps, Gap{t.Name, c.Where(), "purpose"})
			}
			if c.Basis == "" {
				gaps = append(gaps, Gap{t.Name, c.Where(), "basis"})
			}
		}
	}
	return gaps
}
