export function Logo() {
  return (
    <svg viewBox="0 0 24 24" aria-hidden="true">
      <path fill="#2f6fd6" d="M12 1.500 3.500 5v6.200c0 5.100 3.600 9.100 8.500 11.300 4.900-2.200 8.500-6.200 8.500-11.300V5z" />
      <path
        fill="none"
        stroke="#fff"
        strokeWidth="1.800"
        strokeLinecap="round"
        strokeLinejoin="round"
        d="M6.800 12.300h2.600l1.700-4 2.200 7.400 1.500-3.400h2.400"
      />
    </svg>
  );
}
