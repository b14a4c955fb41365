SELECT m.reject_reason, r.payload_digest IS NOT NULL AS is_known, count(*)
  FROM validation_match m
  LEFT JOIN rejects r ON r.payload_digest = m.payload_digest AND r.reason = m.reject_reason
 WHERE m.state = 'rejected' GROUP BY 1, 2
